# Accepts sessions under every key in SECRET_KEY_BASE_ACCEPT (comma-separated), next to the active SECRET_KEY_BASE.
# Copy it to config/initializers/keyroll.rb. It derives each key exactly as Rails derives the active one.
Rails.application.config.after_initialize do |app|
  dispatch = app.config.action_dispatch
  ENV.fetch("SECRET_KEY_BASE_ACCEPT", "").split(",").each do |secret_key_base|
    generator = ActiveSupport::KeyGenerator.new(secret_key_base, iterations: 1000)
    dispatch.cookies_rotations.rotate :encrypted, generator.generate_key(dispatch.authenticated_encrypted_cookie_salt, 32)
    dispatch.cookies_rotations.rotate :signed, generator.generate_key(dispatch.signed_cookie_salt)
  end
end
