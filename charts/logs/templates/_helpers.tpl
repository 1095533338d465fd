{{- define "logs.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "logs.inputs" -}}
{{- range .Values.namespaces }}
input(type="imfile" file="/var/log/pods/{{ . }}_*_*/*/*.log" tag="line" ruleset="lines" addMetadata="on" persistStateInterval="1000")
{{- end }}
{{- end }}

{{- define "logs.configuration" -}}
rsyslog.conf: {{ .Files.Get "rsyslog.conf" | quote }}
sink.py: {{ .Files.Get "sink.py" | quote }}
start: {{ .Files.Get "start" | quote }}
inputs.conf: {{ include "logs.inputs" . | trim | printf "%s\n" | quote }}
{{- end }}
