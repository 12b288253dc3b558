output "coordinator" {
  description = "For `antipode init operator --coordinator`."
  value       = "${module.coordinator.coordinator.id}@${module.coordinator.coordinator.address}"
}

output "sites" {
  description = "Where each site is reached."
  value       = { for name, site in module.site : name => site.address }
}

output "package" {
  description = "Version and SHA-256 of the package."
  value       = module.coordinator.package
}
