"""`make bench-peers`: this server against other servers. README.md beside this file says how a peer is added."""
