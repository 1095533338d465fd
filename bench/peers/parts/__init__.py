"""What the servers of all peers share."""
