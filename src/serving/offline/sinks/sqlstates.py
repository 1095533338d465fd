"""The meaning of PostgreSQL's errors for rows, which are written again, or refused for good.

Knows SQLSTATE, the five characters of PostgreSQL's appendix A. Does not know connections.
"""

# A type cannot hold a value (22), or a constraint or a view refuses it (23, 44). An index or jsonb cannot hold so much (54). A
# trigger refuses a row (P0). Two keys of a batch are one to the table's collation (21), and each alone is good. Other errors
# come from a server, a table or rights, which a person can mend.
DATA_CLASSES = ("21", "22", "23", "44", "54", "P0")

# The server's words on refusing a connection, of which libpq keeps the SQLSTATE for itself, and the cure.
_REFUSED = {
    "password authentication failed": "correct the user or the password",
    "no password supplied": "put the user's password into the URL",
    "authentication failed": "correct the user or the way to authenticate",
    "no pg_hba.conf entry": "let this user and host in by pg_hba.conf",
    "is not permitted to log in": "grant the role LOGIN",
    "permission denied for database": "grant CONNECT on the database",
    "certificate verify failed": "name the server's CA by sslrootcert",
    "root certificate file": "name the server's CA by sslrootcert",
    "server does not support SSL": "change sslmode",
    "role ": "create the role, or correct the user",
    "database ": "create the database, or correct its name",
}
_ABSENT = "does not exist"

# The meaning of an error at the start, where the statement that writes rows is tried with no row.
CURES = {
    "42P01": "the table does not exist",
    "3F000": "the schema does not exist",
    "42501": "a right is missing: grant SELECT, INSERT and UPDATE on the table, and USAGE on its schema",
    "42P10": "no unique index has exactly the key's columns",
    "25006": "the server is read-only, so it is a replica: name the primary, or add target_session_attrs=read-write",
}


def is_of_data(state: str) -> bool:
    """Return whether an error comes from the rows."""
    return state[:2] in DATA_CLASSES


def cure_of_refusal(text: str) -> str:
    """Return what to do after the server refused a connection for good. Empty where waiting may help."""
    for words, cure in _REFUSED.items():
        if words in text and (_ABSENT in text or not words.endswith(" ")):
            return cure
    return ""
