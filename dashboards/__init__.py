"""The dashboards of Grafana. In come the names of metrics, out goes the JSON of charts/monitoring/dashboards.

`parts` says what a dashboard is, as data. `fleet`, `service`, `release`, `gateway` and `offline` hold one dashboard each.
"""
