# The example with the values of its own example file.

variables {
  package_file = "tests/antipode_9.9.9_amd64.deb"
  identities   = "tests/places"
  pins         = "tests/pins"
  coordinator  = { ssh_host = "192.0.2.9", listen = "192.0.2.9:7400" }
  sites = {
    a = {
      ssh_host   = "192.0.2.1"
      listen     = "192.0.2.1:7401"
      partitions = [{ name = "main", module = "/m", token_label = "payments", pin = "payments.pin" }]
    }
    b = {
      ssh_host   = "192.0.2.2"
      listen     = "192.0.2.2:7401"
      partitions = [{ name = "main", module = "/m", token_label = "payments", pin = "payments.pin" }]
    }
  }
}

run "plans" {
  command = plan
  assert {
    condition     = output.coordinator == "main@192.0.2.9:7400"
    error_message = "the coordinator"
  }
  assert {
    condition     = output.sites["b"] == "192.0.2.2:7401"
    error_message = "the sites"
  }
}

