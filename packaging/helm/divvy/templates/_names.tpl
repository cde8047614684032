{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "divvy.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Names of objects. Short enough that what is appended still fits 63 characters. */}}
{{- define "divvy.fullname" -}}
{{- $name := include "divvy.name" . }}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $both | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "divvy.controller" -}}
{{ include "divvy.fullname" . }}-controller
{{- end }}

{{/* What an object is selected by: (list . COMPONENT). */}}
{{- define "divvy.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ include "divvy.name" $ }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "divvy.labels" -}}
{{- $ := index . 0 -}}
{{ include "divvy.selector" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "divvy.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
