"""Bytes and where they lie: this disk, object stores, other machines. Knows no job and no ledger.

layout.py          where a job's output lies
lock.py            one run per job
pictures.py        is it a picture, whole, and of what kind
look.py            what a picture looks like, in a few bytes
jpeg_end.py        where the data of a JPEG ends
user_file.py       where a person says that a page or metrics go
user_state.py      where what outlives a job lies
addresses.py       paths, URLs, and objects of stores
source_errors.py   whose fault it is that a source cannot be read
download.py        a picture onto the disk, verified
workers.py         who works on bytes: threads, or workers elsewhere
stores/            files of object stores and saved datasets
destination/       where final pictures go
ray/               the same work on a Ray cluster
"""
