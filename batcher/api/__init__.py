"""The provider: its calls, its limit, its clock. Knows no job, no file, no ledger.

account.py           whose account, and where: key and hosts, from the environment
client.py            the calls, over aiohttp
model_list.py        the public list of models
http.py              what all calls have in common: proxies, the URL to the byte, what is wrong with the line
connections.py       the connections that paying POSTs leave on
content_encoding.py  packed answers, unpacked in small pieces
time_limit.py        limits that count the time in which this process ran
wire/                what answers say and mean, without I/O
pacing/              the call budget: one gate that every call passes
polling/             when to ask for a job next
retry.py             whether and when a failed submit is made again (pure)
outage.py            a service that is down fails nobody
signal.py            Signal: one task tells others that something changed
unreadable.py        answers that came and cannot be read
key_mask.py          the key, hidden in answers that repeat it
answer_memory.py     how many bytes of answers are in memory at a time
"""
