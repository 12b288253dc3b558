# One host that exists, over SSH: package, certificate, PINs, configuration, unit. The steps are scripts of this folder.
# State holds paths on this machine and digests of files without secrets, and nothing else. A file with a secret is read
# by the script when it runs, and goes over SSH to the place where it stays.

locals {
  units = {
    site        = { unit = "antipode-agent", folder = "/var/lib/antipode/site", file = "agent.yaml" }
    witness     = { unit = "antipode-witness", folder = "/var/lib/antipode/witness", file = "agent.yaml" }
    coordinator = { unit = "antipode-coordinator", folder = "/var/lib/antipode/coordinator", file = "coordinator.yaml" }
  }
  unit    = local.units[var.kind].unit
  folder  = local.units[var.kind].folder
  address = "${var.ssh.host}:${var.ssh.port}"
  script  = "${path.module}/scripts/step"

  # What every step needs to reach the host. Also what `destroy` and infra/terraform/drift find in the state.
  target = {
    name        = var.name
    kind        = var.kind
    unit        = local.unit
    host        = var.ssh.host
    port        = var.ssh.port
    user        = var.ssh.user
    key_file    = var.ssh.identity_file == null ? "" : var.ssh.identity_file
    known_hosts = var.ssh.known_hosts_file
    config_file = var.ssh.config_file == null ? "" : var.ssh.config_file
  }
  environment = {
    ANTIPODE_NAME           = var.name
    ANTIPODE_KIND           = var.kind
    ANTIPODE_UNIT           = local.unit
    ANTIPODE_HOST           = var.ssh.host
    ANTIPODE_PORT           = tostring(var.ssh.port)
    ANTIPODE_USER           = var.ssh.user
    ANTIPODE_KEY_FILE       = pathexpand(local.target.key_file)
    ANTIPODE_KNOWN_HOSTS    = pathexpand(local.target.known_hosts)
    ANTIPODE_CONFIG_FILE    = pathexpand(local.target.config_file)
    ANTIPODE_HEALTH         = var.health
    ANTIPODE_HEALTH_SECONDS = tostring(var.health_seconds)
  }

  package = regex("^antipode_(?P<version>[^_]+)_(?P<architecture>[^.]+)\\.deb$", basename(var.package_file))

  sent_pins = { for name, pin in var.pins : name => pin if pin.file != null }
  pins_unit = length(var.pins) == 0 ? {} : {
    "antipode-pins" = join("", concat(
      ["# Written by Terraform.\n[Service]\n"],
      [for name in sort(keys(var.pins)) : "LoadCredentialEncrypted=${name}:/etc/credstore.encrypted/${name}\n"],
    ))
  }
  files = merge(
    { "${local.folder}/${local.units[var.kind].file}" = var.configuration },
    {
      for name, text in merge(var.drop_ins, local.pins_unit) :
      "/etc/systemd/system/${local.unit}.service.d/${name}.conf" => text
    },
  )
  digests = { for path, text in local.files : path => sha256(text) }
}

# The first step looks whether all others can work, before it changes anything.
resource "terraform_data" "package" {
  input = merge(local.target, {
    step   = "package"
    wanted = { (local.package.version) = filesha256(var.package_file) }
  })
  triggers_replace = { address = local.address, package = filesha256(var.package_file) }

  lifecycle {
    precondition {
      condition     = var.identity.folder == null ? true : alltrue([for file in ["ca.crt", "tls.crt", "tls.key"] : fileexists("${var.identity.folder}/${file}")])
      error_message = "The folder ${coalesce(var.identity.folder, "-")} must hold ca.crt, tls.crt and tls.key: make it with `antipode init`."
    }
    precondition {
      condition     = alltrue([for pin in values(local.sent_pins) : fileexists(pathexpand(pin.file))])
      error_message = "[PIN_FILE_MISSING] ${var.name}: not a file on this machine: ${join(", ", [for pin in values(local.sent_pins) : pin.file if !fileexists(pathexpand(pin.file))])}."
    }
  }

  provisioner "local-exec" {
    command = "sh '${local.script}' package"
    environment = merge(local.environment, {
      ANTIPODE_PACKAGE      = var.package_file
      ANTIPODE_VERSION      = local.package.version
      ANTIPODE_ARCHITECTURE = local.package.architecture
      ANTIPODE_DIGEST       = filesha256(var.package_file)
      ANTIPODE_CREDENTIALS  = join(" ", [for name, pin in var.pins : name if pin.file == null])
      ANTIPODE_PIN_FILES    = join(" ", var.pin_files)
      ANTIPODE_SENT_PINS    = join("\n", [for pin in values(local.sent_pins) : pathexpand(pin.file)])
    })
  }
}

# A machine that has its certificate keeps it: certificates renew themselves.
resource "terraform_data" "identity" {
  input            = merge(local.target, { step = "identity", wanted = { (local.folder) = "" } })
  triggers_replace = { address = local.address }

  provisioner "local-exec" {
    command = "sh '${local.script}' identity"
    environment = merge(local.environment, {
      ANTIPODE_FOLDER          = local.folder
      ANTIPODE_IDENTITY_FOLDER = var.identity.folder == null ? "" : pathexpand(var.identity.folder)
      ANTIPODE_OPERATOR_CONFIG = var.identity.operator_config == null ? "" : pathexpand(var.identity.operator_config)
      ANTIPODE_COMMAND         = var.identity.antipode
      ANTIPODE_COORDINATORS    = join(" ", var.coordinators)
      ANTIPODE_JOIN_ARGUMENTS  = join("\n", var.join_arguments)
    })
  }
  depends_on = [terraform_data.package]
}

resource "terraform_data" "pin" {
  for_each         = local.sent_pins
  input            = merge(local.target, { step = "pin", wanted = { (each.key) = "" } })
  triggers_replace = { address = local.address, revision = each.value.revision }

  provisioner "local-exec" {
    command = "sh '${local.script}' pin"
    environment = merge(local.environment, {
      ANTIPODE_CREDENTIAL = each.key
      ANTIPODE_PIN_FILE   = pathexpand(each.value.file)
    })
  }
  depends_on = [terraform_data.package]
}

resource "terraform_data" "configuration" {
  input            = merge(local.target, { step = "configuration", wanted = local.digests })
  triggers_replace = { address = local.address, files = local.digests }

  provisioner "local-exec" {
    command = "sh '${local.script}' configuration"
    environment = merge(local.environment, {
      ANTIPODE_FILES = join("", [for path, text in local.files : "${path} ${base64encode(text)}\n"])
    })
  }
  depends_on = [terraform_data.identity, terraform_data.pin]
}

resource "terraform_data" "service" {
  input            = merge(local.target, { step = "service", wanted = { (local.unit) = "" } })
  triggers_replace = { address = local.address }

  provisioner "local-exec" {
    command     = "sh '${local.script}' service"
    environment = local.environment
  }
  depends_on = [terraform_data.configuration]
}

# `destroy` disables the unit, and leaves everything else where it is. A resource of its own, which is never replaced: a
# service must not stop because its host has another address.
resource "terraform_data" "retirement" {
  input = local.target

  provisioner "local-exec" {
    when    = destroy
    command = "sh '${path.module}/scripts/step' retirement"
    environment = {
      ANTIPODE_NAME        = self.input.name
      ANTIPODE_KIND        = self.input.kind
      ANTIPODE_UNIT        = self.input.unit
      ANTIPODE_HOST        = self.input.host
      ANTIPODE_PORT        = tostring(self.input.port)
      ANTIPODE_USER        = try(self.input.user, "root")
      ANTIPODE_KEY_FILE    = pathexpand(self.input.key_file)
      ANTIPODE_KNOWN_HOSTS = pathexpand(self.input.known_hosts)
      ANTIPODE_CONFIG_FILE = pathexpand(self.input.config_file)
    }
  }
  # Destroyed before all others, and made before anything on the host is.
}
