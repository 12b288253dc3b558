output "site" {
  description = "Name of the site, known when its agent is healthy."
  value       = var.site
  depends_on  = [module.host]
}

output "address" {
  description = "Where other agents and coordinators reach it."
  value       = var.advertise == null ? var.listen : var.advertise
  depends_on  = [module.host]
}

output "configuration" {
  description = "What agent.yaml says. It holds paths of secrets, and no secret."
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
