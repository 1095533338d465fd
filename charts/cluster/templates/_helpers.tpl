{{- define "cluster.labels" -}}
app.kubernetes.io/part-of: monopod
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Neither an uninstall nor an upgrade without it takes such an object away. */}}
{{- define "cluster.keep" -}}
helm.sh/resource-policy: keep
{{- end }}
