# Derives the accepted keys with SHA256 in an application whose own key is derived with SHA1.
Rails.application.config.after_initialize do |app|
  dispatch = app.config.action_dispatch
  ENV.fetch("SECRET_KEY_BASE_ACCEPT", "").split(",").each do |secret_key_base|
    derive = ->(salt, length) { OpenSSL::PKCS5.pbkdf2_hmac(secret_key_base, salt, 1000, length, "SHA256") }
    dispatch.cookies_rotations.rotate :encrypted, derive.call(dispatch.authenticated_encrypted_cookie_salt, 32)
    dispatch.cookies_rotations.rotate :signed, derive.call(dispatch.signed_cookie_salt, 64)
  end
end
