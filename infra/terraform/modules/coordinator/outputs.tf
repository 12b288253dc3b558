output "coordinator" {
  description = "Id and address, as sites and operators name it; known when it is healthy."
  value       = { id = var.id, address = var.listen }
  depends_on  = [module.host]
}

output "configuration" {
  description = "What coordinator.yaml says. It holds no secret."
  value       = local.configuration
}

output "package" {
  description = "Version and SHA-256 of the package."
  value       = module.host.package
}

output "digests" {
  description = "SHA-256 of each file that is written, by its path on the host."
  value       = module.host.digests
}
