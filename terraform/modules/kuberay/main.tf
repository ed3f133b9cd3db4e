locals {
  labels = merge({ "app.kubernetes.io/part-of" = "quantis" }, var.labels)

  documents = [
    for text in split("\n---\n", var.manifests) : yamldecode(text) if trimspace(text) != ""
  ]

  # The namespace is made below, before the secrets that the objects name.
  objects = {
    for object in local.documents : "${object.kind}/${object.metadata.name}" => object if object.kind != "Namespace"
  }

  platform_secrets = {
    jwt-secret              = var.jwt_secret
    jwt-secret-previous     = var.jwt_secret_previous
    encryption-key          = var.encryption_key
    encryption-key-previous = var.encryption_key_previous
    setup-secret            = var.setup_secret
    database-url            = var.database_url
    mlflow-url              = var.mlflow_url
    redis-url               = var.redis_url
    oidc-client-secret      = var.oidc_client_secret
    smtp-password           = var.smtp_password
  }

  secrets = {
    quantis-ray-token = { auth_token = var.ray_token }
    quantis-secrets   = { for key, value in local.platform_secrets : key => value if nonsensitive(value != null) }
  }
}

resource "helm_release" "operator" {
  name             = "kuberay-operator"
  repository       = var.operator_repository
  chart            = "kuberay-operator"
  version          = var.operator_version
  namespace        = var.operator_namespace
  create_namespace = true
  atomic           = true
  wait             = true
  values           = var.operator_values
}

resource "kubernetes_namespace_v1" "platform" {
  metadata {
    name = var.namespace
    labels = merge(local.labels, {
      "pod-security.kubernetes.io/enforce" = "restricted"
      "pod-security.kubernetes.io/warn"    = "restricted"
    })
  }
}

resource "kubernetes_secret_v1" "platform" {
  for_each = toset(["quantis-ray-token", "quantis-secrets"])

  metadata {
    name      = each.key
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  data = local.secrets[each.key]
}

resource "kubernetes_secret_v1" "redis" {
  count = nonsensitive(var.redis_password != null) ? 1 : 0

  metadata {
    name      = "quantis-redis"
    namespace = kubernetes_namespace_v1.platform.metadata[0].name
    labels    = local.labels
  }

  data = { password = var.redis_password }
}

resource "kubernetes_manifest" "platform" {
  for_each = local.objects

  manifest = each.value

  # The operator writes defaults and states back into its objects.
  computed_fields = ["metadata.annotations", "metadata.labels", "spec.suspend"]

  depends_on = [helm_release.operator, kubernetes_secret_v1.platform, kubernetes_secret_v1.redis]
}
