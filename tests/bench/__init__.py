"""The benchmark: every row of the bar, measured side by side with what a user would run today.

    make bench          every row, medians of several runs
    make bench-quick    fewer rows and runs, under two minutes
    python -m tests.bench --help

    mock.py      a fast server of the API, in its own process; server.py starts it and reads its statistics
    allowed.py   what a limit allows: the limiters, the jobs' lengths, and the strict ideal that follows
    contest.py   a program against a mock: time, CPU, memory, and what the server saw
    peers/       what a user would run today: the official SDK in threads, a short aiohttp script
    rows/        one module per group of rows
    figures.py   a figure, its bar and its verdict; the table and the JSON
    pictures.py  the two pictures

Rule: a figure is a whole program's, as a user starts it, and the server is the judge; nothing is compared
with a figure of another hour. `make test` only tries the machinery out; it asserts on no time.
"""
