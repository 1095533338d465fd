"""The meaning of PostgreSQL's errors."""

import pytest

from serving.offline.sinks.postgresql import cure_of_refusal, is_of_data


@pytest.mark.parametrize("state", ["21000", "22003", "22P05", "23505", "23514", "44000", "54000", "P0001"])
def test_an_error_of_values_and_constraints_comes_from_the_rows(state: str) -> None:
    assert is_of_data(state)


@pytest.mark.parametrize("state", ["08006", "53100", "53300", "57014", "57P01", "40P01", "42P01", "42501", "25006", "XX000"])
def test_an_error_that_a_person_or_time_can_mend_does_not(state: str) -> None:
    assert not is_of_data(state)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ('FATAL:  password authentication failed for user "a"', "correct the user or the password"),
        ('FATAL:  database "a" does not exist', "create the database, or correct its name"),
        ('FATAL:  role "a" does not exist', "create the role, or correct the user"),
        ('FATAL:  role "a" is not permitted to log in', "grant the role LOGIN"),
        ("FATAL:  the database system is starting up", ""),
        ("Connection refused", ""),
        ('FATAL:  too many connections for role "a"', ""),
        ('FATAL:  too many connections for database "a"', ""),
    ],
)
def test_a_refused_connection_has_a_cure_where_waiting_does_not_help(text: str, cure: str) -> None:
    assert cure_of_refusal(text) == cure
