variable "namespace" {
  description = "Namespace of the platform; it must be the one that the manifests name."
  type        = string
  default     = "quantis"

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "A namespace is a DNS label: lower case letters, digits and hyphens, at most 63 characters."
  }
}

variable "operator_namespace" {
  description = "Namespace of the KubeRay operator."
  type        = string
  default     = "kuberay-operator"
}

variable "operator_repository" {
  description = "Address of the Helm repository that holds the chart kuberay-operator (a mirror of yours, or the project's own)."
  type        = string
}

variable "operator_version" {
  description = "Version of the chart kuberay-operator. Token authentication needs 1.6 or later; the manifests are checked against 1.7."
  type        = string
  default     = "1.7.0"

  validation {
    condition     = can(regex("^1\\.([6-9]|[1-9][0-9])\\.", var.operator_version))
    error_message = "The manifests use authOptions, which the operator knows from 1.6 on."
  }
}

variable "operator_values" {
  description = "Values for the operator's chart, as YAML documents; later ones win."
  type        = list(string)
  default     = []
}

variable "manifests" {
  description = "The platform's objects as one YAML text of several documents: the output of kubectl kustomize kuberay/overlays/production. Empty installs the operator, the namespace and the secrets alone."
  type        = string
  default     = ""
}

variable "database_url" {
  description = "SQLAlchemy URL of the platform's PostgreSQL database."
  type        = string
  sensitive   = true

  validation {
    condition     = startswith(var.database_url, "postgresql")
    error_message = "On a cluster the database is PostgreSQL; SQLite does not survive a shared volume."
  }
}

variable "mlflow_url" {
  description = "MLflow's tracking URI: a PostgreSQL URL of its own database, or the address of a server."
  type        = string
  sensitive   = true
}

variable "jwt_secret" {
  description = "Key that signs access tokens, at least 32 characters."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.jwt_secret) >= 32
    error_message = "The key that signs access tokens has at least 32 characters."
  }
}

variable "jwt_secret_previous" {
  description = "Key that signed access tokens before; still read while the key is replaced, null otherwise."
  type        = string
  default     = null
  sensitive   = true
}

variable "encryption_key" {
  description = "Key that seals second factors in the database, at least 32 characters; null leaves second factors off."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.encryption_key == null ? true : length(var.encryption_key) >= 32
    error_message = "The key that seals second factors has at least 32 characters."
  }
}

variable "encryption_key_previous" {
  description = "Key that sealed second factors before; the next start seals them anew with encryption_key, null otherwise."
  type        = string
  default     = null
  sensitive   = true
}

variable "redis_url" {
  description = "Redis at which the nodes count requests together; null where each node counts alone."
  type        = string
  default     = null
  sensitive   = true
}

variable "oidc_client_secret" {
  description = "Client secret at the OpenID provider that people sign in at; null where the provider wants none, or there is none."
  type        = string
  default     = null
  sensitive   = true
}

variable "smtp_password" {
  description = "Password at the mail server that alerts leave by; null where it wants none, or no mail is sent."
  type        = string
  default     = null
  sensitive   = true
}

variable "setup_secret" {
  description = "One-time secret with which the first administrator is made; null once there is one."
  type        = string
  default     = null
  sensitive   = true
}

variable "ray_token" {
  description = "Token that every Ray node, driver and job client must show, at least 32 characters."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.ray_token) >= 32
    error_message = "Ray's token has at least 32 characters."
  }
}

variable "redis_password" {
  description = "Password of the Redis that keeps Ray's head state; null where GCS fault tolerance is off."
  type        = string
  default     = null
  sensitive   = true
}

variable "labels" {
  description = "Labels for the namespace and the secrets."
  type        = map(string)
  default     = {}
}
