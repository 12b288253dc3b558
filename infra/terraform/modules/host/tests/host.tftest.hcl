# What the module writes, and what it refuses. Nothing is reached: every run plans.

variables {
  ssh           = { host = "192.0.2.1" }
  package_file  = "tests/antipode_9.9.9_amd64.deb"
  name          = "a"
  kind          = "site"
  identity      = { operator_config = "operator.yaml" }
  configuration = "site: a\n"
  health        = "answered"
}

run "has_the_files_of_its_kind" {
  command = plan
  assert {
    condition     = output.unit == "antipode-agent" && output.digests["/var/lib/antipode/site/agent.yaml"] == sha256("site: a\n")
    error_message = "unit and digest"
  }
  assert {
    condition     = length(output.digests) == 1
    error_message = "no drop-in without PINs"
  }
}

run "loads_pins_as_credentials" {
  command = plan
  variables {
    pins = { "payments.pin" = {}, "scratch.pin" = {} }
  }
  assert {
    condition     = output.digests["/etc/systemd/system/antipode-agent.service.d/antipode-pins.conf"] == sha256("# Written by Terraform.\n[Service]\nLoadCredentialEncrypted=payments.pin:/etc/credstore.encrypted/payments.pin\nLoadCredentialEncrypted=scratch.pin:/etc/credstore.encrypted/scratch.pin\n")
    error_message = "the drop-in"
  }
}

run "refuses_a_name" {
  command = plan
  variables {
    name = "Site_A"
  }
  expect_failures = [var.name]
}

run "refuses_a_kind" {
  command = plan
  variables {
    kind = "agent"
  }
  expect_failures = [var.kind]
}

run "refuses_a_host_with_a_user" {
  command = plan
  variables {
    ssh = { host = "root@192.0.2.1" }
  }
  expect_failures = [var.ssh]
}

run "refuses_a_host_that_is_an_option" {
  command = plan
  variables {
    ssh = { host = "-oProxyCommand=x" }
  }
  expect_failures = [var.ssh]
}

run "refuses_a_port" {
  command = plan
  variables {
    ssh = { host = "192.0.2.1", port = 0 }
  }
  expect_failures = [var.ssh]
}

run "refuses_a_package_of_another_name" {
  command = plan
  variables {
    package_file = "tests/other.deb"
  }
  expect_failures = [var.package_file]
}

run "refuses_two_identities" {
  command = plan
  variables {
    identity = { folder = "x", operator_config = "y" }
  }
  expect_failures = [var.identity]
}

run "refuses_no_identity" {
  command = plan
  variables {
    identity = {}
  }
  expect_failures = [var.identity]
}

run "refuses_the_name_of_a_credential" {
  command = plan
  variables {
    pins = { "../x" = {} }
  }
  expect_failures = [var.pins]
}

run "refuses_a_revision" {
  command = plan
  variables {
    pins = { "x" = { revision = 1.5 } }
  }
  expect_failures = [var.pins]
}

run "refuses_a_relative_pin_file" {
  command = plan
  variables {
    pin_files = ["pin"]
  }
  expect_failures = [var.pin_files]
}

run "refuses_a_drop_in_of_its_own" {
  command = plan
  variables {
    drop_ins = { antipode-pins = "x" }
  }
  expect_failures = [var.drop_ins]
}

run "refuses_the_name_of_a_drop_in" {
  command = plan
  variables {
    drop_ins = { "a/b" = "x" }
  }
  expect_failures = [var.drop_ins]
}

run "refuses_a_time" {
  command = plan
  variables {
    health_seconds = 0
  }
  expect_failures = [var.health_seconds]
}

run "misses_a_pin_file" {
  command = plan
  variables {
    pins = { "payments.pin" = { file = "tests/nowhere" } }
  }
  expect_failures = [terraform_data.package]
}

run "misses_the_folder_of_an_identity" {
  command = plan
  variables {
    identity = { folder = "tests/nowhere" }
  }
  expect_failures = [terraform_data.package]
}

run "refuses_a_user_that_is_an_option" {
  command = plan
  variables {
    ssh = { host = "192.0.2.1", user = "-oProxyCommand=x" }
  }
  expect_failures = [var.ssh]
}
