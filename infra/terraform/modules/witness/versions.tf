# Only what terraform and tofu have built in: `init` downloads nothing.
terraform {
  required_version = ">= 1.6.0"
}
