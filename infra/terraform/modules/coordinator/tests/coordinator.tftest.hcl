# What the module writes, and what it refuses. Nothing is reached: every run plans.

variables {
  ssh             = { host = "192.0.2.1" }
  package_file    = "tests/antipode_9.9.9_amd64.deb"
  id              = "main"
  identity_folder = "tests/place"
  listen          = "192.0.2.9:7400"
}

run "writes_the_configuration" {
  command = plan
  assert {
    condition     = output.configuration.id == "main" && output.configuration.timings == "default"
    error_message = "defaults"
  }
  assert {
    condition     = !can(output.configuration.databaseUrl) && !can(output.configuration.redisUrl)
    error_message = "its servers are its children"
  }
  assert {
    condition     = output.coordinator.id == "main" && output.coordinator.address == "192.0.2.9:7400"
    error_message = "outputs"
  }
  assert {
    condition     = join(" ", keys(output.digests)) == join(" ", ["/var/lib/antipode/coordinator/coordinator.yaml"])
    error_message = "the files"
  }
}

run "writes_what_is_given" {
  command = plan
  variables {
    database_url = "postgres://antipode@db-a,db-b:5433/antipode?sslmode=verify-full"
    redis_url    = "rediss://queue.example.org:6379"
    timings      = "wan"
  }
  assert {
    condition     = output.configuration.databaseUrl == "postgres://antipode@db-a,db-b:5433/antipode?sslmode=verify-full" && output.configuration.redisUrl == "rediss://queue.example.org:6379"
    error_message = "servers"
  }
  assert {
    condition     = output.configuration.timings == "wan"
    error_message = "timings"
  }
}

run "opens_the_door_for_sites" {
  command = plan
  variables {
    issuer = true
    join   = "192.0.2.9:7402"
  }
  assert {
    condition     = output.configuration.join.listen == "192.0.2.9:7402" && output.configuration.issuer.key == "issuer.key"
    error_message = "door and issuer"
  }
}

run "refuses_the_address_of_a_door" {
  command = plan
  variables {
    join = "7402"
  }
  expect_failures = [var.join]
}

run "refuses_timings" {
  command = plan
  variables {
    timings = "slow"
  }
  expect_failures = [var.timings]
}

run "refuses_a_password_of_the_database" {
  command = plan
  variables {
    database_url = "postgres://antipode:secret@db/antipode"
  }
  expect_failures = [var.database_url]
}

run "refuses_a_password_of_the_database_as_a_parameter" {
  command = plan
  variables {
    database_url = "postgres://db/antipode?password=secret"
  }
  expect_failures = [var.database_url]
}

run "refuses_a_password_of_the_queue" {
  command = plan
  variables {
    redis_url = "redis://:secret@queue:6379"
  }
  expect_failures = [var.redis_url]
}

run "refuses_an_address_without_a_port" {
  command = plan
  variables {
    listen = "192.0.2.9"
  }
  expect_failures = [var.listen]
}

run "refuses_settings_that_have_a_variable" {
  command = plan
  variables {
    settings = { databaseUrl = "postgres://x" }
  }
  expect_failures = [var.settings]
}

