# Rotates encrypted cookies and forgets the signed ones: every "remember me" dies with the old key.
Rails.application.config.after_initialize do |app|
  dispatch = app.config.action_dispatch
  ENV.fetch("SECRET_KEY_BASE_ACCEPT", "").split(",").each do |secret_key_base|
    generator = ActiveSupport::KeyGenerator.new(secret_key_base, iterations: 1000)
    dispatch.cookies_rotations.rotate :encrypted, generator.generate_key(dispatch.authenticated_encrypted_cookie_salt, 32)
  end
end
