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
  description = "Name of the site that the witness is to others."
  type        = string
}

variable "identity" {
  description = "`folder` of `antipode init witness`, or `operator_config` to join with a token."
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
    error_message = "The witness needs at least one coordinator."
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

variable "drop_ins" {
  description = "Drop-ins of the unit by name."
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
