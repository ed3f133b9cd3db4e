output "namespace" {
  description = "Namespace in which the platform runs."
  value       = kubernetes_namespace_v1.platform.metadata[0].name
}

output "operator_version" {
  description = "Version of the operator's chart that is installed."
  value       = helm_release.operator.version
}

output "api_service" {
  description = "Host and port inside the cluster at which the API and the dashboard answer, once the RayService is ready."
  value       = "quantis-serve-svc.${var.namespace}.svc:8000"
}

output "objects" {
  description = "The platform's objects under this module, as kind/name."
  value       = sort(keys(local.objects))
}
