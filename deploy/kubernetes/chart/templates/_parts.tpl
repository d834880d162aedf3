{{/* What several manifests share. Each takes a dict of `root` (the chart's values) and `component`. */}}

{{/* The name of a component's objects: that of the release, and for all but the consumers also the component's. */}}
{{- define "part.name" -}}
{{ .root.Release.Name }}{{ if ne .component "consumer" }}-{{ .component }}{{ end }}
{{- end }}

{{/* What selects the pods: never changes, because Kubernetes refuses that. */}}
{{- define "part.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "part.labels" -}}
{{ include "part.selector" . }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "part.image" -}}
{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Settings of the service as variables. Numbers as JSON: Helm itself would write a large one as 5.36870912e+08. */}}
{{- define "part.settings" -}}
CONSUMER_PREFIX: {{ .root.Values.prefix | quote }}
CONSUMER_DRAIN_GRACE_S: {{ .values.drainGraceSeconds | quote }}
{{- if .root.Values.rabbitmq.tls.enabled }}
CONSUMER_AMQP_CA_FILE: /etc/rabbitmq-ca/ca.crt
{{- end }}
{{- /* The queues are there already, and this user may not create any (deploy/rabbitmq/definitions.json). */}}
{{- range $name, $value := merge (deepCopy (.values.settings | default dict)) (dict "declare" false "log_format" "json") }}
CONSUMER_{{ upper $name }}: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}

{{/* RabbitMQ's URL is put together from the password. Kubernetes replaces $(AMQP_PASSWORD) only by a variable that comes
     before it, as those of `envFrom` do. */}}
{{- define "part.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "part.name" . }}
  # It holds AMQP_PASSWORD. In the environment a password is out of a classifier's reach; in a file it would not be, as
  # both belong to one user (SECURITY.md).
  - secretRef:
      name: {{ .values.secret }}
env:
  - name: CONSUMER_AMQP_URL
    {{- with .root.Values.rabbitmq }}
    value: {{ ternary "amqps" "amqp" .tls.enabled }}://{{ $.values.user }}:$(AMQP_PASSWORD)@{{ .host }}:{{ ternary 5671 5672 .tls.enabled }}/{{ .vhost }}
    {{- end }}
{{- end }}

{{/* The restricted Pod Security Standard. */}}
{{- define "part.pod-security" -}}
automountServiceAccountToken: false
# A Service named consumer-http would set CONSUMER_HTTP_PORT to tcp://...: read as a setting, and refused.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "part.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Asked over HTTP: a process per probe would cost 0.2 s of CPU each time. */}}
{{- define "part.probes" -}}
# Until it is ready for the first time, nothing is restarted: models load for up to 2 minutes, and a gateway reads the
# replies of a day.
startupProbe:
  httpGet:
    path: /ready
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
# An outage of RabbitMQ never fails it; a loop or a slot that hangs does.
livenessProbe:
  httpGet:
    path: /live
    port: http
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /ready
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{- define "part.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "part.selector" . | nindent 8 }}
{{- end }}

{{- define "part.annotations" -}}
{{- $ours := dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .port) }}
annotations:
  # A changed setting restarts the pods.
  checksum/settings: {{ include "part.settings" . | sha256sum }}
  {{- merge (omit (.root.Values.podAnnotations | default dict) "checksum/settings") $ours | toYaml | nindent 2 }}
{{- end }}

{{/* Out: names, RabbitMQ, and what the values add. */}}
{{- define "part.egress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- with .root.Values.rabbitmq }}
- to:
    - podSelector:
        matchLabels: {{ toJson .podLabels }}
      {{- if .namespace }}
      namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .namespace }}
      {{- end }}
  ports:
    - protocol: TCP
      port: 5672
    - protocol: TCP
      port: 5671
{{- end }}
{{- with .root.Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}
