"""The facebank: the people who are known, in one durable file.

    bank      the facebank: enrol, search, rename, delete
    rows      what it holds of a person and of a photo, with checksums
    schema    the file's tables, and their older forms
    database  SQLite, plain or encrypted
    key       where the key is found
    log       who was enrolled, deleted and searched
    salvage   what can still be read of a damaged file

docs/facebank.md describes the file to the byte.
"""
