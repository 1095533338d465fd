"""Four pods behind Envoy against one gunicorn of four workers, with the same stand-in for a card in each process."""
