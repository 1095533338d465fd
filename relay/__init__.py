"""The relay: takes Alertmanager's webhooks, and sends each as one message to a robot of WeChat Work or to a webhook.

Of the platform's other code the relay imports conf.remote.wechat_robot alone.

The relay keeps no message. Alertmanager holds each alert until the relay answers 2xx, and tries again after a 5xx. So an alert
that cannot be sent now is sent later, also after the relay was restarted. A message whose answer was lost may come twice.

Concurrency: one event loop does everything, and nothing is locked. Only names are looked up on threads, which are asyncio's.
A request ends by the timeout of its body or by that of its delivery, so no stuck peer holds another's request.
"""
