# A whole Rails application in one file: encrypted session cookies, a login, one page behind it.
# Start it with:  SECRET_KEY_BASE=... puma -b tcp://127.0.0.1:3000 config.ru
require "action_controller/railtie"

class Shop < Rails::Application
  config.eager_load = false
  config.logger = Logger.new($stderr)
  config.log_level = :warn
  config.hosts.clear
  config.consider_all_requests_local = false
  config.load_defaults 6.1
  config.secret_key_base = ENV.fetch("SECRET_KEY_BASE")
  config.session_store :cookie_store, key: "_shop_session"
  config.action_dispatch.cookies_serializer = :json
end

# How the application accepts sessions under keys other than its active one. `keyroll` needs exactly this file; SHOP_FAULT
# makes the well-known mistakes on purpose, for the tests that show how Keyroll finds them.
case ENV["SHOP_FAULT"]
when nil then require_relative "keyroll_initializer"
when "missing-initializer" then nil
else require_relative "faults/#{ENV.fetch("SHOP_FAULT").tr("-", "_")}"
end

Shop.initialize!

class ShopController < ActionController::Base
  skip_forgery_protection

  # How many people are logged in, for `keyroll plan --mode cutover`. A real application asks its database; this one writes a line
  # for each login, with a label that tells the key and gives nothing of it away: it is derived as every other key of Rails is.
  LOGINS = ENV.fetch("SHOP_SESSIONS", "/dev/null")
  LABEL = Shop.key_generator.generate_key("shop: sessions by key", 4).unpack1("H*")

  LIFETIME = Integer(ENV.fetch("SHOP_LIFETIME", "10800"))

  # A session ends this many seconds after the login, whatever happens: the application enforces what keyroll.yaml declares.
  def login
    reset_session
    session[:user] = params.fetch(:user)
    session[:name] = SecureRandom.hex(8)
    session[:expires_at] = Time.now.to_i + LIFETIME
    File.open(LOGINS, "a") { |file| file.write("#{LABEL} #{session[:expires_at]}\n") }
    render json: who.merge(expires_at: session[:expires_at])
  end

  # As most applications do, a visitor without a session is sent to log in, and where he came from is remembered *in the
  # session*: this is what overwrites a cookie that this process could not read.
  def me
    return render json: who if session[:user] && Time.now.to_i < session[:expires_at].to_i

    session[:return_to] = request.path
    render plain: "please log in\n", status: :unauthorized
  end

  def sessions
    logins = File.file?(LOGINS) ? File.readlines(LOGINS).map(&:split) : []
    render plain: "#{logins.count { |label, ends| label == LABEL && ends.to_i > Time.now.to_i }}\n"
  end

  def healthz
    render plain: "ok\n"
  end

  private

  def who
    { user: session[:user], session: session[:name] }
  end
end

Shop.routes.draw do
  post "/login", to: "shop#login"
  get "/me", to: "shop#me"
  get "/sessions", to: "shop#sessions"
  get "/healthz", to: "shop#healthz"
end
run Shop
