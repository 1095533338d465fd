"""The check of a service before anything is applied: schemas, and rules of experience, each rule a small function.

In: settings, plans and rendered objects. Out: all mistakes at once, each with what to do. Most rules see one track in one
region, a Case. The rules of other_services see all services, and the rules of rendered_objects see one track's objects.
"""
