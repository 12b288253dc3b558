# A witness: a host with an agent and without an HSM. It votes, and says which sites it reaches.

locals {
  configuration = merge(
    {
      site         = var.site
      listen       = var.listen
      coordinators = var.coordinators
      tls          = { ca = "ca.crt", certificate = "tls.crt", key = "tls.key" }
      dataFolder   = "data"
      witness      = true
    },
    var.advertise == null ? {} : { advertise = var.advertise },
    var.http == null ? {} : { http = var.http },
    var.settings,
  )
}

module "host" {
  source = "../host"

  name           = var.site
  kind           = "witness"
  ssh            = var.ssh
  package_file   = var.package_file
  identity       = var.identity
  coordinators   = var.coordinators[*].address
  join_arguments = ["--listen", var.listen]
  configuration  = "# Written by Terraform. A change here is found, and undone.\n${yamlencode(local.configuration)}"
  drop_ins       = var.drop_ins
  health         = var.wait_for_coordinator ? "^a coordinator has answered" : "coordinator has answered"
  health_seconds = var.health_seconds
}
