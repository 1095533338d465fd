{{- define "monitoring.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "monitoring.foundLabels" -}}
{{ include "monitoring.labels" . }}
{{- with .Values.prometheus.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
