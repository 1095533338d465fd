"""The figures at which the platform warns, each named once.

Knows numbers. Does not know queries. A service moves others by its settings: objectives, memory_levels and cpu_levels.
"""

TMP_WARNS = 0.80  # A share of the size of /tmp.
QUEUE_WARNS = 0.50  # A share of timeout_second that the oldest waiting request has waited.
SLOW_WARNS = 0.80  # A share of timeout_second that the slowest hundredth of the answers takes.
ERRORS_WARN = 0.01  # A share of the requests, for tracks without objectives.
RESTARTS_WARN = 3  # Restarts of one pod in half an hour.
SINK_AWAY_WARNS = 300  # Seconds for which a sink takes no answers.
BROKERS_AWAY_WARNS = 300  # Seconds for which the brokers of a topic do not answer.
DEAD_LETTERS_WARN = 0.01  # A share of the records.
FEWEST_DEAD_LETTERS = 5  # In a quarter of an hour: a single malformed record wakes nobody.
RETRIES_WARN = 10  # Requests in ten minutes that a gateway did not send again though it should.

# One failure in a quiet night wakes nobody, and a few clients' failures do not either. The rules of long windows find what few
# requests show only in a day.
FEWEST_REQUESTS = 20  # In the window that a rule judges.
FEWEST_FAILURES = 5  # In the same window.
CANARY_NOT_DRIVEN = 900  # Seconds since a command looked at a canary.
