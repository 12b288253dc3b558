variable "package_file" {
  description = "The Debian package on this machine."
  type        = string
}

variable "identities" {
  description = "Folder with a folder of `antipode init` for each site and the coordinator."
  type        = string
}

variable "operator_config" {
  description = "operator.yaml with role security: sites without a folder join with a token."
  type        = string
  default     = null
}

variable "antipode" {
  description = "The command on this machine that makes tokens."
  type        = string
  default     = "antipode"
}

variable "pins" {
  description = "Folder on this machine with PIN files: SITE/CREDENTIAL, mode 0600."
  type        = string
}

variable "pin_revision" {
  description = "A higher one sends all PIN files again."
  type        = number
  default     = 1
}

variable "ssh_user" {
  description = "Who logs in at the hosts: root, or a user with sudo and no password."
  type        = string
  default     = "root"
}

variable "ssh_identity_file" {
  description = "Private key of SSH; those of the agent and of ~/.ssh if omitted."
  type        = string
  default     = null
}

variable "ssh_known_hosts_file" {
  description = "Keys of the hosts. No other host is accepted."
  type        = string
  default     = "~/.ssh/known_hosts"
}

variable "ssh_config_file" {
  description = "Configuration of ssh, for a jump host for example; that of the user if omitted."
  type        = string
  default     = null
}

variable "timings" {
  description = "Timing profile of the coordinator: default, wan or fast."
  type        = string
  default     = "default"
}

variable "coordinator" {
  description = "The coordinator: SSH, and where agents and operators connect."
  type = object({
    id       = optional(string, "main")
    ssh_host = string
    ssh_port = optional(number, 22)
    listen   = string
    join     = optional(string)
  })
}

variable "sites" {
  description = "The sites by name: SSH, address of the agent, partitions."
  type = map(object({
    ssh_host = string
    ssh_port = optional(number, 22)
    listen   = string
    http     = optional(string)
    partitions = list(object({
      name        = string
      module      = string
      token_label = string
      serial      = optional(string)
      role        = optional(string, "member")
      pin         = string
      environment = optional(map(string), {})
    }))
  }))
}

variable "drop_ins" {
  description = "Drop-ins of the agents' units, such as the group of a device."
  type        = map(string)
  default     = {}
}
