output "unit" {
  description = "The unit of systemd."
  value       = local.unit
  depends_on  = [terraform_data.service]
}

output "digests" {
  description = "SHA-256 of each file that is written, by its path on the host."
  value       = local.digests
}

output "package" {
  description = "Version and SHA-256 of the package."
  value       = { version = local.package.version, sha256 = filesha256(var.package_file) }
}
