"""The part of the work that the servers of all peers share."""
