"""`monopod bench`: what a running service does under load.

    command   from the command line to an exit status
    words     figures as a person reads them, and as JSON
    client    requests over HTTP
    figures   what a run saw, in numbers
    loops     who sends when
    bodies    files and texts as requests

Knows a URL and what to send there. Does not know what answers it, nor what a good figure is.
"""
