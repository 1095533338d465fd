"""Deploy time: from value.py to running pods. Of the runtime it imports serving.settings alone.

    base        text, YAML, numbers and references to objects
    clusters    conf/regions.yaml, read as strictly as value.py
    plan        every name and number that an object holds
    render      plans become YAML
    rules       a service judged before anything is applied
    remote      the clients of API servers, image registries and webhooks
    observe     a service as its metrics show it
    rollout     one release in one region: applied, watched, undone, rolled back
    doctor      checks of all that a deploy needs, from the checkout to the gateway
    commands    what each verb prints

A folder uses only the folders above it in this list. Up to rules, only files are read.
"""
