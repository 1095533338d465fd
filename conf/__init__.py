"""Deploy time: from value.py to running pods. Of the runtime it imports serving.settings alone."""
