# A coordinator: a host that decides, and never touches key material.

locals {
  configuration = merge(
    {
      id         = var.id
      listen     = var.listen
      tls        = { ca = "ca.crt", certificate = "tls.crt", key = "tls.key" }
      dataFolder = "data"
      timings    = var.timings
    },
    var.issuer ? { issuer = { certificate = "issuer.crt", key = "issuer.key" } } : {},
    var.join == null ? {} : { join = { listen = var.join } },
    var.http == null ? {} : { http = var.http },
    var.database_url == null ? {} : { databaseUrl = var.database_url },
    var.redis_url == null ? {} : { redisUrl = var.redis_url },
    var.settings,
  )
}

module "host" {
  source = "../host"

  name           = var.id
  kind           = "coordinator"
  ssh            = var.ssh
  package_file   = var.package_file
  identity       = { folder = var.identity_folder }
  configuration  = "# Written by Terraform. A change here is found, and undone.\n${yamlencode(local.configuration)}"
  drop_ins       = var.drop_ins
  health         = "^(leads|stands by)"
  health_seconds = var.health_seconds
}
