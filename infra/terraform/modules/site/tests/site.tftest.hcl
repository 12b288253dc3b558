# What the module writes, and what it refuses. Nothing is reached: every run plans.

variables {
  ssh          = { host = "192.0.2.1" }
  package_file = "tests/antipode_9.9.9_amd64.deb"
  site         = "a"
  identity     = { operator_config = "operator.yaml" }
  listen       = "192.0.2.1:7401"
  coordinators = [{ id = "main", address = "192.0.2.9:7400" }]
  partitions   = [{ name = "main", module = "/usr/lib/hsm.so", token_label = "payments", pin = "payments.pin" }]
}

run "writes_the_configuration" {
  command = plan
  assert {
    condition     = output.configuration.site == "a" && output.configuration.coordinators[0].address == "192.0.2.9:7400"
    error_message = "site and coordinators"
  }
  assert {
    condition     = output.configuration.partitions[0].pinFile == "/run/credentials/antipode-agent.service/payments.pin"
    error_message = "the PIN is a credential"
  }
  assert {
    condition     = output.configuration.partitions[0].role == "member" && !can(output.configuration.partitions[0].serial)
    error_message = "what is omitted is not written"
  }
  assert {
    condition     = !can(output.configuration.advertise) && !can(output.configuration.http)
    error_message = "what is omitted is not written"
  }
  assert {
    condition     = join(" ", sort(keys(output.digests))) == join(" ", ["/etc/systemd/system/antipode-agent.service.d/antipode-pins.conf", "/var/lib/antipode/site/agent.yaml"])
    error_message = "the files"
  }
  assert {
    condition     = output.address == "192.0.2.1:7401" && output.package.version == "9.9.9"
    error_message = "outputs"
  }
}

run "writes_what_is_given" {
  command = plan
  variables {
    advertise  = "a.example.org:7401"
    http       = "127.0.0.1:7409"
    settings   = { deletedRetentionDaysMin = 14 }
    drop_ins   = { softhsm = "[Service]\n" }
    partitions = [{ name = "main", module = "/usr/lib/hsm.so", token_label = "payments", serial = "77", pin_file = "/etc/pin", environment = { CONF = "/etc/x" }, settings = { officerKey = true } }]
  }
  assert {
    condition     = output.configuration.advertise == "a.example.org:7401" && output.address == "a.example.org:7401"
    error_message = "advertise"
  }
  assert {
    condition     = output.configuration.deletedRetentionDaysMin == 14 && output.configuration.http == "127.0.0.1:7409"
    error_message = "settings"
  }
  assert {
    condition     = output.configuration.partitions[0].pinFile == "/etc/pin" && output.configuration.partitions[0].serial == "77" && output.configuration.partitions[0].officerKey
    error_message = "partition"
  }
  assert {
    condition     = contains(keys(output.digests), "/etc/systemd/system/antipode-agent.service.d/softhsm.conf")
    error_message = "drop-in"
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

run "refuses_a_coordinator_twice" {
  command = plan
  variables {
    coordinators = [{ id = "main", address = "x:1" }, { id = "main", address = "y:1" }]
  }
  expect_failures = [var.coordinators]
}

run "refuses_no_partition" {
  command = plan
  variables {
    partitions = []
  }
  expect_failures = [var.partitions]
}

run "refuses_two_pins" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t", pin = "p", pin_file = "/p" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_no_pin" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_a_role" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t", pin = "p", role = "archive" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_a_relative_module" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "hsm.so", token_label = "t", pin = "p" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_a_name_twice" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t", pin = "p" }, { name = "main", module = "/m", token_label = "u", pin = "p" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_one_token_as_member_and_scratch" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t", pin = "p" }, { name = "scratch", module = "/m", token_label = "t", pin = "p", role = "scratch" }]
  }
  expect_failures = [var.partitions]
}

run "refuses_a_pin_in_the_environment" {
  command = plan
  variables {
    partitions = [{ name = "main", module = "/m", token_label = "t", pin = "p", environment = { TOKEN_PIN = "x" } }]
  }
  expect_failures = [var.partitions]
}

run "refuses_settings_that_have_a_variable" {
  command = plan
  variables {
    settings = { listen = "x:1" }
  }
  expect_failures = [var.settings]
}

run "refuses_a_health_address" {
  command = plan
  variables {
    http = "7409"
  }
  expect_failures = [var.http]
}

run "refuses_an_advertised_address" {
  command = plan
  variables {
    advertise = "a"
  }
  expect_failures = [var.advertise]
}

