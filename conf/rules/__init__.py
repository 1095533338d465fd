"""A service judged before anything is applied: by what experience asks beyond schemas, one small function a rule.

In: settings, plans and rendered objects. Out: every mistake at once, in words that end with the cure. Rules that need one
region see a Case; rules that need the whole service, or its neighbours, see them all.
"""
