# Three sites and a coordinator, on four hosts that exist. Values: terraform.tfvars.example.

terraform {
  required_version = ">= 1.6.0"
}

locals {
  ssh = { for name, host in merge({ coordinator = var.coordinator }, var.sites) : name => {
    host             = host.ssh_host
    port             = host.ssh_port
    user             = var.ssh_user
    identity_file    = var.ssh_identity_file
    known_hosts_file = var.ssh_known_hosts_file
    config_file      = var.ssh_config_file
  } }
}

module "coordinator" {
  source = "../../modules/coordinator"

  id              = var.coordinator.id
  ssh             = local.ssh["coordinator"]
  package_file    = var.package_file
  identity_folder = "${var.identities}/${var.coordinator.id}"
  listen          = var.coordinator.listen
  issuer          = var.operator_config != null
  join            = var.operator_config == null ? null : var.coordinator.join
  timings         = var.timings
}

module "site" {
  source   = "../../modules/site"
  for_each = var.sites

  site         = each.key
  ssh          = local.ssh[each.key]
  package_file = var.package_file
  identity = var.operator_config == null || fileexists("${var.identities}/${each.key}/tls.crt") ? {
    folder = "${var.identities}/${each.key}", operator_config = null, antipode = null
    } : {
    folder = null, operator_config = var.operator_config, antipode = var.antipode
  }
  listen       = each.value.listen
  http         = each.value.http
  coordinators = [module.coordinator.coordinator]
  partitions   = each.value.partitions
  pins = { for name in distinct([for one in each.value.partitions : one.pin]) : name => {
    file     = "${var.pins}/${each.key}/${name}"
    revision = var.pin_revision
  } }
  drop_ins = var.drop_ins
}
