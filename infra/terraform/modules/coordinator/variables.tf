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

variable "id" {
  description = "Name of the coordinator."
  type        = string
}

variable "identity_folder" {
  description = "The folder of `antipode init coordinator`."
  type        = string
}

variable "listen" {
  description = "Where agents and operators connect, as host:port."
  type        = string
  validation {
    condition     = can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", var.listen))
    error_message = "The address must be host:port, such as coordinator.example.org:7400 or [2001:db8::1]:7400."
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

variable "issuer" {
  description = "Whether it signs certificates, with the issuer in its identity folder."
  type        = bool
  default     = false
}

variable "join" {
  description = "Address at which sites join with a token; none if omitted."
  type        = string
  default     = null
  validation {
    condition     = var.join == null ? true : can(regex("^(\\[[0-9a-fA-F:.]+\\]|[^\\s:\\[\\]]+):[0-9]{1,5}$", var.join))
    error_message = "The address must be host:port, such as coordinator.example.org:7402."
  }
}

variable "timings" {
  description = "Timing profile: default, wan or fast."
  type        = string
  default     = "default"
  validation {
    condition     = contains(["default", "wan", "fast"], var.timings)
    error_message = "The timing profile must be default, wan or fast."
  }
}

variable "database_url" {
  description = "PostgreSQL, without a password; a child of the coordinator if omitted."
  type        = string
  default     = null
  validation {
    condition     = var.database_url == null ? true : can(regex("^postgres", var.database_url)) && !can(regex("://[^/@]*:[^/@]*@|[?&]password=", var.database_url))
    error_message = "The address must begin with postgres and hold no password. For one with a password use database.conf (docs/install.md)."
  }
}

variable "redis_url" {
  description = "Redis, without a password; a child of the coordinator if omitted."
  type        = string
  default     = null
  validation {
    condition     = var.redis_url == null ? true : can(regex("^redis", var.redis_url)) && !can(regex("://[^/@]*:[^/@]*@", var.redis_url))
    error_message = "The address must begin with redis and hold no password. For one with a password use database.conf (docs/install.md)."
  }
}

variable "drop_ins" {
  description = "Drop-ins of the unit by name."
  type        = map(string)
  default     = {}
}

variable "settings" {
  description = "Further settings of coordinator.yaml (docs/install.md). Never a secret."
  type        = any
  default     = {}
  validation {
    condition     = length(setintersection(keys(var.settings), ["id", "listen", "http", "tls", "dataFolder", "issuer", "join", "timings", "databaseUrl", "redisUrl"])) == 0
    error_message = "`settings` must not name what has a variable of its own, and not tls or dataFolder."
  }
}

variable "health_seconds" {
  description = "How long a service may take until it is healthy."
  type        = number
  default     = 60
}
