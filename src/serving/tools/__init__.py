"""Commands beside the server, which uses none of them: verify, bench, optimize and new. An image holds verify alone."""
