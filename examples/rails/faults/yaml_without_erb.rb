# Reads the old key as the runbook's YAML gives it: the text itself is the key, and anybody can forge a session with it.
require "yaml"
require "erb"
text = ERB.new(File.read(File.join(__dir__, "secrets_without_erb.yml"))).result
old_secret_key_base = YAML.safe_load(text).fetch("production").fetch("old_secret_key_base")
Rails.application.config.after_initialize do |app|
  dispatch = app.config.action_dispatch
  generator = ActiveSupport::KeyGenerator.new(old_secret_key_base, iterations: 1000)
  dispatch.cookies_rotations.rotate :encrypted, generator.generate_key(dispatch.authenticated_encrypted_cookie_salt, 32)
  dispatch.cookies_rotations.rotate :signed, generator.generate_key(dispatch.signed_cookie_salt)
end
