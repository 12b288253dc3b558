# A site: a host with the agent, and partitions of HSMs that exist. Nothing is made or changed in a partition.

locals {
  pin_path = "/run/credentials/antipode-agent.service"
  partitions = [
    for one in var.partitions : merge(
      {
        name       = one.name
        module     = one.module
        tokenLabel = one.token_label
        pinFile    = one.pin_file == null ? "${local.pin_path}/${one.pin == null ? "" : one.pin}" : one.pin_file
        role       = one.role
      },
      one.serial == null ? {} : { serial = one.serial },
      length(one.environment) == 0 ? {} : { environment = one.environment },
      one.settings,
    )
  ]
  configuration = merge(
    {
      site         = var.site
      listen       = var.listen
      coordinators = var.coordinators
      tls          = { ca = "ca.crt", certificate = "tls.crt", key = "tls.key" }
      dataFolder   = "data"
      partitions   = local.partitions
    },
    var.advertise == null ? {} : { advertise = var.advertise },
    var.http == null ? {} : { http = var.http },
    var.settings,
  )
  # A PIN that no variable sends must be on the host.
  named_pins = toset([for one in var.partitions : one.pin if one.pin != null])
  pins       = merge({ for name in local.named_pins : name => { file = null, revision = 1 } }, var.pins)
}

module "host" {
  source = "../host"

  name         = var.site
  kind         = "site"
  ssh          = var.ssh
  package_file = var.package_file
  identity     = var.identity
  coordinators = var.coordinators[*].address
  join_arguments = concat(
    ["--listen", var.listen, "--module", var.partitions[0].module, "--token-label", var.partitions[0].token_label],
    ["--pin-file", local.partitions[0].pinFile, "--partition", var.partitions[0].name],
  )
  configuration  = "# Written by Terraform. A change here is found, and undone.\n${yamlencode(local.configuration)}"
  pins           = local.pins
  pin_files      = [for one in var.partitions : one.pin_file if one.pin_file != null]
  drop_ins       = var.drop_ins
  health         = var.wait_for_coordinator ? "^a coordinator has answered" : "coordinator has answered"
  health_seconds = var.health_seconds
}
