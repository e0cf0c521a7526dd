"""Real clients, none written here: OpenTelemetry's Collector, telemetrygen and SDKs, rsyslog, kcat, against the real Kafka."""
