variable "ssh" {
  description = "How SSH logs in, as root or with sudo. The key of the host must be known."
  type = object({
    host             = string
    port             = optional(number, 22)
    user             = optional(string, "root")
    identity_file    = optional(string)
    known_hosts_file = optional(string, "~/.ssh/known_hosts")
    config_file      = optional(string)
  })
}

variable "package_file" {
  description = "The Debian package on this machine, under its own name."
  type        = string
}

variable "site" {
  description = "Name of the site."
  type        = string
}

variable "identity" {
  description = "`folder` of `antipode init site`, or `operator_config` to join with a token."
  type = object({
    folder          = optional(string)
    operator_config = optional(string)
    antipode        = optional(string, "antipode")
  })
}

variable "listen" {
  description = "Where coordinators and other agents connect, as host:port."
  type        = string
  validation {
    condition     = can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", var.listen))
    error_message = "The address must be host:port, such as a.example.org:7401 or [2001:db8::1]:7401."
  }
}

variable "advertise" {
  description = "How they reach it, if that differs."
  type        = string
  default     = null
  validation {
    condition     = var.advertise == null ? true : can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", var.advertise))
    error_message = "The address must be host:port, such as a.example.org:7401 or [2001:db8::1]:7401."
  }
}

variable "http" {
  description = "Address of the health endpoints and metrics; none if omitted."
  type        = string
  default     = null
  validation {
    condition     = var.http == null ? true : can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", var.http))
    error_message = "The address must be host:port, such as 127.0.0.1:7409."
  }
}

variable "coordinators" {
  description = "All coordinators."
  type        = list(object({ id = string, address = string }))
  validation {
    condition     = length(var.coordinators) > 0
    error_message = "The site needs at least one coordinator."
  }
  validation {
    condition     = length(distinct(var.coordinators[*].id)) == length(var.coordinators)
    error_message = "The ids of coordinators must not repeat."
  }
  validation {
    condition     = alltrue([for one in var.coordinators : can(regex("^[a-z0-9][a-z0-9-]{0,62}$", one.id)) && can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", one.address))])
    error_message = "Each coordinator needs an id of lower-case letters, digits and dashes, and an address host:port."
  }
}

variable "partitions" {
  description = "Partitions of HSMs that exist. Each names its PIN by `pin` or `pin_file`."
  type = list(object({
    name        = string
    module      = string
    token_label = string
    serial      = optional(string)
    role        = optional(string, "member")
    pin         = optional(string)
    pin_file    = optional(string)
    environment = optional(map(string), {})
    settings    = optional(map(any), {})
  }))
  validation {
    condition     = length(var.partitions) > 0
    error_message = "The site needs at least one partition. A site without an HSM is a witness: use that module."
  }
  validation {
    condition     = length(distinct(var.partitions[*].name)) == length(var.partitions)
    error_message = "The names of partitions must not repeat."
  }
  validation {
    condition     = alltrue([for one in var.partitions : can(regex("^[a-z0-9][a-z0-9-]{0,62}$", one.name))])
    error_message = "The name of a partition must be lower-case letters, digits and dashes."
  }
  validation {
    condition     = alltrue([for one in var.partitions : contains(["member", "scratch", "distributor"], one.role)])
    error_message = "The role of a partition must be member, scratch or distributor."
  }
  validation {
    condition     = alltrue([for one in var.partitions : startswith(one.module, "/")])
    error_message = "The PKCS#11 module must be an absolute path on the host."
  }
  validation {
    condition     = alltrue([for one in var.partitions : length(one.token_label) >= 1 && length(one.token_label) <= 32])
    error_message = "The label of a token must have 1 to 32 characters."
  }
  validation {
    condition     = alltrue([for one in var.partitions : (one.pin == null) != (one.pin_file == null)])
    error_message = "A partition needs either `pin`, the name of a credential, or `pin_file`, a file on the host."
  }
  validation {
    condition     = length(distinct([for one in var.partitions : "${one.module} ${one.token_label} ${one.serial == null ? "" : one.serial}"])) == length(var.partitions)
    error_message = "Two partitions must not be one token: a drill empties its scratch token."
  }
  validation {
    condition     = alltrue([for one in var.partitions : alltrue([for key in keys(one.environment) : !can(regex("(?i)pin|password|secret", key))])])
    error_message = "A PIN must not be in the environment of a module. Use `pin` or `pin_file`."
  }
}

variable "pins" {
  description = "Credentials by name. `file` is a PIN file here; without it, it is on the host."
  type = map(object({
    file     = optional(string)
    revision = optional(number, 1)
  }))
  default = {}
}

variable "drop_ins" {
  description = "Drop-ins of the unit by name, such as the group of a device."
  type        = map(string)
  default     = {}
}

variable "settings" {
  description = "Further settings of agent.yaml (docs/install.md). Never a secret."
  type        = any
  default     = {}
  validation {
    condition     = length(setintersection(keys(var.settings), ["site", "listen", "advertise", "http", "coordinator", "coordinators", "tls", "dataFolder", "witness", "partitions"])) == 0
    error_message = "`settings` must not name what has a variable of its own, and not tls, dataFolder or witness."
  }
}

variable "wait_for_coordinator" {
  description = "Whether a service counts as healthy only when a coordinator has answered it."
  type        = bool
  default     = true
}

variable "health_seconds" {
  description = "How long a service may take until it is healthy."
  type        = number
  default     = 60
}
