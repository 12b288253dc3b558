# What the module writes, and what it refuses. Nothing is reached: every run plans.

variables {
  ssh          = { host = "192.0.2.1" }
  package_file = "tests/antipode_9.9.9_amd64.deb"
  site         = "w"
  identity     = { operator_config = "operator.yaml" }
  listen       = "192.0.2.1:7401"
  coordinators = [{ id = "main", address = "192.0.2.9:7400" }]
}

run "writes_the_configuration" {
  command = plan
  assert {
    condition     = output.configuration.witness && !can(output.configuration.partitions)
    error_message = "a witness has no partition"
  }
  assert {
    condition     = join(" ", keys(output.digests)) == join(" ", ["/var/lib/antipode/witness/agent.yaml"])
    error_message = "the files"
  }
  assert {
    condition     = output.site == "w" && output.address == "192.0.2.1:7401"
    error_message = "outputs"
  }
}

run "refuses_an_address_without_a_port" {
  command = plan
  variables {
    listen = "192.0.2.1"
  }
  expect_failures = [var.listen]
}

run "refuses_no_coordinator" {
  command = plan
  variables {
    coordinators = []
  }
  expect_failures = [var.coordinators]
}

run "refuses_settings_that_have_a_variable" {
  command = plan
  variables {
    settings = { witness = false }
  }
  expect_failures = [var.settings]
}

