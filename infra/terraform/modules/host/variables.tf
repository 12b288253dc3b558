variable "name" {
  description = "Name for messages: the site, or the id of the coordinator."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,62}$", var.name))
    error_message = "The name must be lower-case letters, digits and dashes."
  }
}

variable "kind" {
  description = "What runs there: site, witness or coordinator."
  type        = string
  validation {
    condition     = contains(["site", "witness", "coordinator"], var.kind)
    error_message = "The kind must be site, witness or coordinator."
  }
}

variable "ssh" {
  description = "How the host is reached. Its key must be in the known hosts."
  type = object({
    host             = string
    port             = optional(number, 22)
    user             = optional(string, "root")
    identity_file    = optional(string)
    known_hosts_file = optional(string, "~/.ssh/known_hosts")
    config_file      = optional(string)
  })
  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9.:-]*$", var.ssh.host))
    error_message = "The host must be a name or an address, without a user and without a port."
  }
  validation {
    condition     = var.ssh.port >= 1 && var.ssh.port <= 65535 && floor(var.ssh.port) == var.ssh.port
    error_message = "The port must be a whole number from 1 to 65535."
  }
  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh.user))
    error_message = "The user must be a name of a Debian user."
  }
}

variable "package_file" {
  description = "The Debian package on this machine, under its own name."
  type        = string
  validation {
    condition     = can(regex("^antipode_[0-9][0-9A-Za-z.+~-]*_(amd64|arm64)\\.deb$", basename(var.package_file)))
    error_message = "The package must have the name that `npm run package` gives: antipode_VERSION_ARCHITECTURE.deb."
  }
}

variable "identity" {
  description = "Where the certificate comes from: a folder, or a token for the site."
  type = object({
    folder          = optional(string)
    operator_config = optional(string)
    antipode        = optional(string, "antipode")
  })
  validation {
    condition     = (var.identity.folder == null) != (var.identity.operator_config == null)
    error_message = "The identity needs either `folder` or `operator_config`."
  }
}

variable "join_arguments" {
  description = "Options of `antipode site join`, which the configuration then replaces."
  type        = list(string)
  default     = []
}

variable "coordinators" {
  description = "Addresses of the coordinators. They are up before the host joins."
  type        = list(string)
  default     = []
}

variable "configuration" {
  description = "The configuration file, as text. It holds no secret."
  type        = string
}

variable "pins" {
  description = "PINs by the name of their credential. A higher revision sends the file again."
  type = map(object({
    file     = optional(string)
    revision = optional(number, 1)
  }))
  default = {}
  validation {
    condition     = alltrue([for name in keys(var.pins) : can(regex("^[a-z0-9][a-z0-9._-]{0,62}$", name))])
    error_message = "The name of a credential must be lower-case letters, digits, dots and dashes."
  }
  validation {
    condition     = alltrue([for pin in values(var.pins) : floor(pin.revision) == pin.revision])
    error_message = "The revision of a PIN must be a whole number."
  }
}

variable "pin_files" {
  description = "PIN files that are on the host already. They are looked for, and never read."
  type        = set(string)
  default     = []
  validation {
    condition     = alltrue([for path in var.pin_files : can(regex("^/[^\\s'\"]+$", path))])
    error_message = "A PIN file on the host must be an absolute path without blanks and quotes."
  }
}

variable "drop_ins" {
  description = "Drop-ins of the unit by name, such as the group of a device."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name in keys(var.drop_ins) : can(regex("^[a-z0-9][a-z0-9-]{0,62}$", name))])
    error_message = "The name of a drop-in must be lower-case letters, digits and dashes, without `.conf`."
  }
  validation {
    condition     = !contains(keys(var.drop_ins), "antipode-pins")
    error_message = "The drop-in `antipode-pins` is written from `pins`."
  }
}

variable "health" {
  description = "What the status of the unit must contain, as an extended regular expression."
  type        = string
}

variable "health_seconds" {
  description = "How long a service may take until it is healthy."
  type        = number
  default     = 60
  validation {
    condition     = var.health_seconds >= 1 && var.health_seconds <= 600
    error_message = "The time for a service to become healthy must be 1 to 600 seconds."
  }
}
