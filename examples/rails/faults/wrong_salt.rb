# The initializer of a real runbook: the salt of the old CBC cookies, so no rotated cookie ever opens. Nothing is logged.
Rails.application.config.after_initialize do |app|
  dispatch = app.config.action_dispatch
  ENV.fetch("SECRET_KEY_BASE_ACCEPT", "").split(",").each do |secret_key_base|
    generator = ActiveSupport::KeyGenerator.new(secret_key_base, iterations: 1000)
    dispatch.cookies_rotations.rotate :encrypted, generator.generate_key(dispatch.encrypted_cookie_salt, 32)
    dispatch.cookies_rotations.rotate :signed, generator.generate_key(dispatch.signed_cookie_salt)
  end
end
